# Values that the module has to take; deploy/check plans its variables with them.
account        = "ORGANISATION-ACCOUNT"
rsa_public_key = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA"
reader_roles   = ["ANALYST"]
retention      = true
