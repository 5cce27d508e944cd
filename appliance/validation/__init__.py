"""Is a signal fit to become an intent? R1: pure; limits, prices and the market's time are passed in."""
