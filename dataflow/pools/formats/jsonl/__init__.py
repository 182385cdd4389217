"""JSON lines: one object a line, plain or packed; lines copied byte for byte, lines made of the rows of any pool."""
