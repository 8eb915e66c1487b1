"""The real Claude Code client in a laboratory: offline, with a throw-away home and a scripted model."""
