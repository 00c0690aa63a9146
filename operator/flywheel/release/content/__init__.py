"""Content from Git: from a ref to a commit, from a commit to files, from files to answers."""
