"""Published annotation files become rows; one file per format."""
