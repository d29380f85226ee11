"""Published annotations to rows; one file per format."""
