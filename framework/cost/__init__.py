"""What training and generating cost, told before any device is there."""
