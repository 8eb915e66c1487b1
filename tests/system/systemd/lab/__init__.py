"""What the scenarios share: the booted machine, sessions, and a crowd of sessions."""
