"""Figures of the lab are drawn as SVG, sharp on every screen."""

c = get_config()  # noqa: F821
c.InlineBackend.figure_formats = ["svg"]
c.IPKernelApp.log_level = 40  # errors only: who may listen to the connection is no matter here
