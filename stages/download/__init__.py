"""Images behind a table of URLs: addresses checked, fetched politely, stored with a status each."""
