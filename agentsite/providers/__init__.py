"""Model providers: one file per vendor with the same three functions in each.

`to_request` maps a ModelRequest to the vendor's body, a decoder maps bytes to deltas,
`to_error` maps the vendor's failures to ProviderError. Retries and fallback are ours.
"""
