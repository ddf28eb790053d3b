"""Who comes, and what they may do (docs/security.md).

Reading order: capabilities, identity, then what makes an identity of a token: static_keys, jwks, tokens; revocations;
and authority, which holds them together and knows who is there.
"""
