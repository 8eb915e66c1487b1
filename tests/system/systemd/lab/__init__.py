"""What the scenarios share: the machine they stand on, sessions, and a crowd of sessions."""
