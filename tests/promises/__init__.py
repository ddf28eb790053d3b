"""The promises of the first page, end to end: real brokers, real sockets, real crashes."""
