"""Models as C: one header, without allocation, for devices and programs that have no Python."""
