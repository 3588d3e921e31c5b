"""What spans say, one module for each way of saying it."""
