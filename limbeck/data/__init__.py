"""Where examples come from: pinned sources, with licence and checksum."""
