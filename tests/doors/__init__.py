"""The web doors from outside: real sockets, real clients, and those who want to harm."""
