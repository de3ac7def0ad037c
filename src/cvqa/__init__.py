"""No-reference quality assessment of compressed video."""
