"""What a finished network is handed over as: files of other programs' formats, and a card."""
