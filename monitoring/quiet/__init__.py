"""What holds messages back, and gives them back: silences, maintenance windows, inhibition."""
