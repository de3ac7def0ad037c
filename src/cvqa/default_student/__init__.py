"""From sources to the student that comes with the package, in phases; see `recipe`."""
