"""The OpenFeature Python SDK with its OFREP provider, unmodified, against a node.

Usage: ofrep.py BASE_URL API_KEY
"""

import sys

from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode

base_url, key = sys.argv[1:3]
passed = failed = 0


def check(what, found, expected):
    global passed, failed
    if found == expected:
        passed += 1
    else:
        failed += 1
        print(f"{what}: found {found!r}, expected {expected!r}")


def client(headers):
    api.set_provider(OFREPProvider(base_url, headers_factory=lambda: headers))
    return api.get_client()


flags = client({"Authorization": f"Bearer {key}"})
german = EvaluationContext("user-1", {"country": "DE"})
details = flags.get_boolean_details("static-bool", False)
check("bool", (details.value, details.reason, details.variant), (True, "STATIC", "on"))
details = flags.get_string_details("greeting", "none", german)
check("targeting", (details.value, details.reason, details.variant), ("Good day", "TARGETING_MATCH", "formal"))
details = flags.get_string_details("greeting", "none", EvaluationContext("user-1", {"country": "FR"}))
check("default", (details.value, details.reason, details.variant), ("Hi", "DEFAULT", "plain"))
# A float flag whose value is whole must arrive as a float: the SDK refuses 10.
check("float", flags.get_float_details("limit", 0.0).value, 10.0)
check("float type", type(flags.get_float_details("limit", 0.0).value), float)
check("integer", flags.get_integer_details("retries", 0).value, 3)
check("object", flags.get_object_details("layout", {}).value, {"columns": 2, "dark": True})
check("not found", flags.get_boolean_details("no-such-flag", False).error_code, ErrorCode.FLAG_NOT_FOUND)
check("wrong type", flags.get_string_details("static-bool", "x").error_code, ErrorCode.TYPE_MISMATCH)
details = flags.get_boolean_details("disabled", False)
check("disabled", (details.value, details.reason), (False, "DISABLED"))
sides = [flags.get_string_value("split", "", EvaluationContext(f"user-{i}")) for i in range(200)]
check("split is sticky", sides, [flags.get_string_value("split", "", EvaluationContext(f"user-{i}")) for i in range(200)])
check("split uses both", set(sides), {"L", "R"})

refused = client({"Authorization": "Bearer wrong"}).get_boolean_details("static-bool", False)
check("wrong key", (refused.value, refused.error_code), (False, ErrorCode.GENERAL))
flags = client({"X-API-Key": key})
check("X-API-Key", flags.get_boolean_details("static-bool", False).value, True)

print(f"openfeature-provider-ofrep: {passed} passed, {failed} failed")
sys.exit(failed > 0)
