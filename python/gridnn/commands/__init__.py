"""The commands that work on one's own data and models; `gridnn.cli` calls them. One file a command."""
