"""From the name of a file to its bytes: members of archives, compressed files, object stores."""
