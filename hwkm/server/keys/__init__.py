"""The key service: customer master keys, data keys, policy of keys. Nothing here speaks HTTP.

Read in this order: ``principal`` (who asks), ``service`` (what can be asked), ``names`` (how keys are
named), ``book`` (what is kept in memory), then the parts that do it.
"""
