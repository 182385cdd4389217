"""What a published dataset says of itself: the card with its pictures, and Croissant."""
