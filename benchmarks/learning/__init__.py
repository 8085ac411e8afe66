"""Learning under wrong and hostile reports, with the gate and without; see __main__.py."""
