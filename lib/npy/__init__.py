"""Reading ``.npy`` files as data: headers, fixed-width texts, and pickles that are never unpickled."""
