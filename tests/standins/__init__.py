"""Stand-ins for what a test cannot have: Microsoft Entra ID, the metadata service, Key Vault,
Azure Resource Manager, Microsoft Graph.

Each speaks its protocol over a socket, so the real client libraries run against it.
"""
