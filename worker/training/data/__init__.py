"""Images by class: where they lie, how they are read, split, varied and handed out in batches."""
