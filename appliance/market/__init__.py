"""Market data from files, checked: readers, replay, pacing, quality. R2: the readers touch the disk."""
