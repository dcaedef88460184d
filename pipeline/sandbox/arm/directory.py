"""What the tenant's directory holds: people, groups, applications, devices.

Like the tenant's resources, all of it follows by arithmetic and is made when asked for.
"""

from __future__ import annotations

import unicodedata
import zlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

DOMAIN = "contoso.onmicrosoft.com"
# Microsoft Graph itself and the tenant that owns Microsoft's applications, as in every directory.
GRAPH_APP_ID = "00000003-0000-0000-c000-000000000000"
MICROSOFT_TENANT_ID = "f8cdef31-a31e-4b4a-93e4-5f571e91255a"

# Their product is how many people have a name of their own; the lengths make each pair come once.
FIRST_NAMES = (
    "Ada", "Anaïs", "Amara", "Bram", "Chidi", "Chloé", "Daniel", "Elif", "Emeka", "Farah",
    "Freya", "Grace", "Hana", "Hugo", "Ines", "Ivan", "Jürgen", "José", "Kenji", "Lena",
    "Linus", "Mai", "Maria", "Mateo", "Mei", "Noor", "Nils", "Olga", "Omar", "Priya",
    "Quinn", "Rafael", "Renée", "Sara", "Tariq", "Thandi", "Uma", "Wei", "Yara", "Zoë",
)  # fmt: skip
LAST_NAMES = (
    "Adeyemi", "Ahmed", "Almeida", "Bauer", "Becker", "Bianchi", "Bouchard", "Brandt", "Castro",
    "Chen", "Costa", "Dubois", "Eriksson", "Fernández", "Fischer", "Fraser", "García", "Haddad",
    "Hoffmann", "Ito", "Ivanova", "Jansen", "Kaur", "Keller", "Khan", "Kim", "Kovács", "Lefèvre",
    "Lindqvist", "Mbeki", "Meyer", "Moreau", "Müller", "Nakamura", "Nguyen", "Novák", "Okafor",
    "Osei", "Patel", "Peeters", "Petrov", "Rossi", "Sato", "Schmidt", "Silva", "Smith", "Tanaka",
    "Visser", "Wang", "Zhang",
)  # fmt: skip
NAMES = len(FIRST_NAMES) * len(LAST_NAMES)
DEPARTMENTS = ("Engineering", "Finance", "Human Resources", "Legal", "Operations", "Sales")
TITLES = ("Analyst", "Architect", "Assistant", "Engineer", "Manager", "Specialist")
OFFICES = (("Amsterdam", "NL"), ("Berlin", "DE"), ("London", "GB"), ("Seattle", "US"))
SYSTEMS = (("Windows", "10.0.22631.3447"), ("MacMDM", "14.5"), ("IPhone", "17.5.1"))
# Members of a group beside the one that holds everybody.
MEMBERS_MAX = 40

# What a user has without $select, in v1.0.
USER_BASICS = frozenset(
    {
        "businessPhones", "displayName", "givenName", "id", "jobTitle", "mail", "mobilePhone",
        "officeLocation", "preferredLanguage", "surname", "userPrincipalName",
    }
)  # fmt: skip


class Collection(msgspec.Struct, frozen=True):
    """One collection of the directory.

    Attributes:
        name: as in paths, e.g. ``servicePrincipals``.
        type: of its objects, e.g. ``servicePrincipal``.
        count: how many objects.
        id: of the k-th.
        value: the k-th with all of its fields.
        basics: fields given without ``$select`` in v1.0; None is all.
    """

    name: str
    type: str
    count: int
    id: Callable[[int], str]
    value: Callable[[int], dict[str, Any]]
    basics: frozenset[str] | None = None


# An object: where it is, and its ordinal there.
Entry = tuple[Collection, int]


class Directory:
    """A deterministic directory.

    Args:
        tenant_id: of the organisation.
        users: people; the rest grows with them.
        guid: makes a GUID that follows from these texts and the tenant's seed.
    """

    def __init__(self, tenant_id: str, users: int, guid: Callable[..., str]) -> None:
        self._tenant_id = tenant_id
        self._guid = guid
        self._users = users
        self._apps = 3 + users // 25
        # Another tenant's people have other names.
        self._shift = zlib.crc32(tenant_id.encode()) % NAMES
        self.users = self._collection("users", "user", users, self._user, USER_BASICS)
        self.groups = self._collection("groups", "group", 1 + users // 10, self._group)
        self.principals = self._collection(
            "servicePrincipals", "servicePrincipal", 1 + self._apps * 3 // 2, self._principal
        )
        self.collections = {
            each.name.lower(): each
            for each in (
                self.users,
                self.groups,
                self.principals,
                self._collection("applications", "application", self._apps, self._application),
                self._collection("devices", "device", users // 2, self._device),
                Collection("organization", "organization", 1, lambda _: tenant_id, self._contoso),
            )
        }
        self._ordinals = cache(self._ordinals_uncached)

    def counts(self) -> dict[str, int]:
        """How many objects each collection has."""
        return {each.name: each.count for each in self.collections.values()}

    def find(self, collection: Collection, key: str) -> int | None:
        """Ordinal of an object by its id, or a user by its principal name, in any case."""
        return self._ordinals(collection.name.lower()).get(key.lower())

    def members(self, group: int) -> Sequence[Entry]:
        """Who is in the k-th group: the first has everybody, some have an application."""
        if group == 0:
            return [(self.users, k) for k in range(self._users)]
        seed = zlib.crc32(self.groups.id(group).encode())
        count = min(self._users, 1 + seed % MEMBERS_MAX)
        members = [(self.users, (seed + i) % self._users) for i in range(count)]
        if group % 4 == 0:
            members.append((self.principals, 1 + seed % self._apps))
        return members

    def _collection(
        self,
        name: str,
        type_: str,
        count: int,
        value: Callable[[int, str], dict[str, Any]],
        basics: frozenset[str] | None = None,
    ) -> Collection:
        def id_of(k: int) -> str:
            return self._guid("directory", name, str(k))

        def whole(k: int) -> dict[str, Any]:
            id_ = id_of(k)
            return {"id": id_, **value(k, id_)}

        return Collection(name, type_, count, id_of, whole, basics)

    def _ordinals_uncached(self, name: str) -> dict[str, int]:
        collection = self.collections[name]
        found = {collection.id(k): k for k in range(collection.count)}
        if collection is self.users:
            found |= {self._name(k)[2].lower(): k for k in range(collection.count)}
        return found

    # -- objects

    def _name(self, k: int) -> tuple[str, str, str]:
        """First name, last name and principal name, which no two users share."""
        n = k + self._shift
        first = FIRST_NAMES[n % len(FIRST_NAMES)]
        last = LAST_NAMES[(n // len(FIRST_NAMES) + n) % len(LAST_NAMES)]
        again = str(k // NAMES) if k >= NAMES else ""
        return first, last, f"{_plain(first)}.{_plain(last)}{again}@{DOMAIN}"

    def _user(self, k: int, id_: str) -> dict[str, Any]:
        first, last, principal = self._name(k)
        office, country = _pick(id_, "office", OFFICES)
        return {
            "businessPhones": [f"+1 206 555 {100 + k % 100:04}"],
            "displayName": f"{first} {last}",
            "givenName": first,
            "jobTitle": _pick(id_, "title", TITLES),
            "mail": principal,
            "mobilePhone": None,
            "officeLocation": office,
            "preferredLanguage": "en-US",
            "surname": last,
            "userPrincipalName": principal,
            "accountEnabled": k % 20 != 19,
            "city": office,
            "companyName": "Contoso",
            "country": country,
            "createdDateTime": _time(id_),
            "department": _pick(id_, "department", DEPARTMENTS),
            "employeeId": f"{10_000 + k}",
            "usageLocation": country,
            "userType": "Guest" if k % 25 == 24 else "Member",
        }

    def _group(self, k: int, id_: str) -> dict[str, Any]:
        department = _pick(id_, "department", DEPARTMENTS)
        name = "All employees" if k == 0 else f"{department} {k:03}"
        nickname = _plain(name).replace(" ", "-")
        is_team = k % 3 == 2
        return {
            "deletedDateTime": None,
            "classification": None,
            "createdDateTime": _time(id_),
            "description": f"Access of {name}",
            "displayName": name,
            "groupTypes": ["Unified"] if is_team else [],
            "mail": f"{nickname}@{DOMAIN}" if is_team else None,
            "mailEnabled": is_team,
            "mailNickname": nickname,
            "membershipRule": None,
            "renewedDateTime": _time(id_),
            "securityEnabled": not is_team,
            "securityIdentifier": f"S-1-12-1-{zlib.crc32(id_.encode())}-{k}",
            "visibility": "Private" if is_team else None,
        }

    def _application(self, k: int, id_: str) -> dict[str, Any]:
        return {
            "appId": self._app_id(k),
            "createdDateTime": _time(id_),
            "displayName": self._app_name(k),
            "identifierUris": [f"api://{self._app_id(k)}"],
            "keyCredentials": [],
            "passwordCredentials": [
                {"keyId": self._guid(id_, "key"), "endDateTime": _time(id_, "expiry")}
            ],
            "publisherDomain": DOMAIN,
            "requiredResourceAccess": [{"resourceAppId": GRAPH_APP_ID, "resourceAccess": []}],
            "signInAudience": "AzureADMyOrg",
            "tags": [],
        }

    def _principal(self, k: int, id_: str) -> dict[str, Any]:
        """Microsoft Graph, then those of the applications, then managed identities."""
        kind, owner = "Application", self._tenant_id
        if k == 0:
            name, app_id, owner = "Microsoft Graph", GRAPH_APP_ID, MICROSOFT_TENANT_ID
        elif k <= self._apps:
            name, app_id = self._app_name(k - 1), self._app_id(k - 1)
        else:
            kind, name, app_id = "ManagedIdentity", f"id-{k:03}", self._guid(id_, "app")
        return {
            "accountEnabled": True,
            "appDisplayName": name,
            "appId": app_id,
            "appOwnerOrganizationId": owner,
            "createdDateTime": _time(id_),
            "displayName": name,
            "servicePrincipalNames": [app_id],
            "servicePrincipalType": kind,
            "signInAudience": "AzureADMyOrg",
            "tags": [],
        }

    def _device(self, k: int, id_: str) -> dict[str, Any]:
        system, version = _pick(id_, "system", SYSTEMS)
        return {
            "accountEnabled": True,
            "approximateLastSignInDateTime": _time(id_, "seen"),
            "deviceId": self._guid(id_, "device"),
            "displayName": f"{system.upper()}-{id_[:6].upper()}",
            "isCompliant": k % 10 != 9,
            "isManaged": True,
            "operatingSystem": system,
            "operatingSystemVersion": version,
            "trustType": "AzureAd",
        }

    def _contoso(self, k: int) -> dict[str, Any]:
        del k
        domain = {"name": DOMAIN, "type": "Managed", "isDefault": True, "isInitial": True}
        return {
            "id": self._tenant_id,
            "countryLetterCode": "US",
            "createdDateTime": _time(self._tenant_id),
            "displayName": "Contoso",
            "tenantType": "AAD",
            "verifiedDomains": [domain],
        }

    def _app_id(self, k: int) -> str:
        return self._guid("directory", "appId", str(k))

    def _app_name(self, k: int) -> str:
        return f"app-{_plain(DEPARTMENTS[k % len(DEPARTMENTS)]).replace(' ', '-')}-{k:03}"


def _plain(name: str) -> str:
    """A name as addresses have it: lower case, without accents."""
    letters = unicodedata.normalize("NFKD", name.lower())
    return letters.encode("ascii", "ignore").decode()


def _number(id_: str, what: str) -> int:
    return zlib.crc32(f"{id_}|{what}".encode())


def _pick(id_: str, what: str, options: Sequence[T]) -> T:
    return options[_number(id_, what) % len(options)]


def _time(id_: str, what: str = "created") -> str:
    """A time in 2021 to 2025 in UTC, e.g. ``2023-04-01T08:03:55Z``."""
    n = _number(id_, what)
    day = f"{2021 + n % 5}-{1 + n // 5 % 12:02}-{1 + n // 60 % 28:02}"
    return f"{day}T{n // 7 % 24:02}:{n // 11 % 60:02}:{n // 13 % 60:02}Z"
