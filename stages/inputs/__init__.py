"""Read users' inputs (tars, tables, image folders, captions files), naming every fault."""
