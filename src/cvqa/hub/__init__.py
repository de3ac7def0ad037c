"""Publishing on the Hub: cards, model folders that stand alone, data sets, Spaces, the endpoint handler."""
