"""Mode, trip, hold and latch, and what an exit does. Pure: the guard link and the venues are passed in."""
