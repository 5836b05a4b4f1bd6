"""Every route × every kind of caller. The table is written by hand, not derived from the policy.

Columns: no token, a principal without grants, each role in the registry, in the project (p-) and in
the folder `support` (f-), those that count in the environment `staging` (e-), an expired token, a
revoked one, and an admin's tokens narrowed to reading and to the folder. Statuses are those of a
request that is valid and allowed; a route without a row fails the test.
"""

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from api.http.openapi import document
from api.http.routes import ROUTES
from ledger.signing import Signer
from ledger.trust import possession_text
from tests.harness import Api, Caller, registry, text_content

COLUMNS = (
    "nobody none viewer developer reviewer releaser auditor operator admin"
    " p-viewer p-admin f-developer e-releaser expired revoked narrowed"
    " p-developer p-reviewer p-releaser p-auditor f-viewer f-reviewer f-releaser f-auditor f-admin"
    " e-admin placed checker deactivated"
).split()

# fmt: off
TABLE = {
    #                                                nob non vie dev rev rel aud ope adm pvi pad fde ere exp rev nar pde pre prl pau fvi fre frl fau fad ead pla che dea
    "GET /healthz":                                 "200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200",
    "GET /readyz":                                  "200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200",
    "GET /v1/version":                              "200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200",
    "GET /metrics":                                 "401 403 403 403 403 403 403 200 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401",
    "GET /v1/whoami":                               "401 200 200 200 200 200 200 200 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401",
    "GET /v1/projects":                             "401 200 200 200 200 200 200 200 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401",
    "POST /v1/projects":                            "401 403 403 403 403 403 403 403 201 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401",
    "GET /v1/projects/{project}":                   "401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401",
    "GET /v1/projects/{project}/prompts":           "401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401",
    "POST /v1/projects/{project}/prompts":          "401 404 403 201 403 403 403 404 201 403 201 201 403 401 401 403 201 403 403 403 403 403 403 403 201 403 201 403 401",
    "GET /v1/projects/{project}/prompts/{name}":    "401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401",
    "POST /v1/resolve":                             "401 200 200 200 200 200 200 200 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401",
    "GET …/-/metadata":                             "401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401",
    "PATCH …/-/metadata":                           "401 404 403 200 403 403 403 404 200 403 200 200 403 401 401 403 200 403 403 403 403 403 403 403 200 403 200 403 401",
    "POST …/-/deprecate":                           "401 404 403 200 403 403 403 404 200 403 200 200 403 401 401 403 200 403 403 403 403 403 403 403 200 403 200 403 401",
    "POST …/-/move":                                "401 404 403 200 403 403 403 404 200 403 200 200 403 401 401 403 200 403 403 403 403 403 403 403 200 403 200 403 401",
    "POST …/-/archive":                             "401 404 403 200 403 403 403 404 200 403 200 200 403 401 401 403 200 403 403 403 403 403 403 403 200 403 200 403 401",
    "POST …/-/restore":                             "401 404 403 200 403 403 403 404 200 403 200 200 403 401 401 403 200 403 403 403 403 403 403 403 200 403 200 403 401",
    "GET …/-/versions":                             "401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401",
    "POST …/-/versions":                            "401 404 403 201 403 403 403 404 201 403 201 201 403 401 401 403 201 403 403 403 403 403 403 403 201 403 201 403 401",
    "POST /v1/commits":                             "401 404 403 201 403 403 403 404 201 403 201 201 403 401 401 403 201 403 403 403 403 403 403 403 201 403 201 403 401",
    "GET …/-/versions/{number}":                    "401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401",
    "GET …/-/branches":                             "401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401",
    "POST …/-/branches":                            "401 404 403 201 403 403 403 404 201 403 201 201 403 401 401 403 201 403 403 403 403 403 403 403 201 403 201 403 401",
    "GET …/-/branches/{branch}":                    "401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401",
    "DELETE …/-/branches/{branch}":                 "401 404 403 200 403 403 403 404 200 403 200 200 403 401 401 403 200 403 403 403 403 403 403 403 200 403 200 403 401",
    "POST …/-/merge":                               "401 404 403 201 403 403 403 404 201 403 201 201 403 401 401 403 201 403 403 403 403 403 403 403 201 403 201 403 401",
    "POST …/-/fork":                                "401 404 403 201 403 403 403 404 201 403 201 201 403 401 401 403 201 403 403 403 403 403 403 403 201 403 201 403 401",
    "GET …/-/labels":                               "401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401",
    "GET …/-/labels/{label}":                       "401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401",
    "PUT …/-/labels/{label}":                       "401 404 403 403 403 200 403 404 200 403 200 403 200 401 401 403 403 403 200 403 403 403 200 403 200 200 200 403 401",
    "DELETE …/-/labels/{label}":                    "401 404 403 403 403 200 403 404 200 403 200 403 200 401 401 403 403 403 200 403 403 403 200 403 200 200 200 403 401",
    "GET …/-/labels/{label}/history":               "401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401",
    "POST …/-/rollback":                            "401 404 403 403 403 200 403 404 200 403 200 403 200 401 401 403 403 403 200 403 403 403 200 403 200 200 200 403 401",
    "GET …/-/history":                              "401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401",
    "GET …/-/diff":                                 "401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401",
    "POST …/-/render":                              "401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401",
    "GET …/-/used-by":                              "401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401",
    "GET …/-/impact":                               "401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401",
    "GET /v1/projects/{project}/guardrails":        "401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401",
    "PUT /v1/projects/{project}/guardrails/{guardrail}":"401 404 403 403 403 403 403 404 201 403 201 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401",
    "DELETE /v1/projects/{project}/guardrails/{guardrail}":"401 404 403 403 403 403 403 404 200 403 200 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401",
    "GET /v1/projects/{project}/environments":  "401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401",
    "GET /v1/projects/{project}/environments/{label}":"401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401",
    "PUT /v1/projects/{project}/environments/{label}":"401 404 403 403 403 403 403 404 200 403 200 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401",
    "DELETE /v1/projects/{project}/environments/{label}":"401 404 403 403 403 403 403 404 200 403 200 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401",
    "GET /v1/projects/{project}/owners":        "401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401",
    "PUT /v1/projects/{project}/owners":        "401 404 403 403 403 403 403 404 200 403 200 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401",
    "GET …/-/versions/{number}/checks":         "401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401",
    "POST …/-/versions/{number}/checks":        "401 404 403 403 403 403 403 404 201 403 201 403 403 401 401 403 403 403 403 403 403 403 403 403 201 403 201 201 401",
    "POST …/-/promotions/preview":              "401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401",
    "GET …/-/consumers":                        "401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401",
    "PUT …/-/consumers/{consumer}":             "401 404 201 201 403 201 403 404 201 201 201 201 403 401 401 403 201 403 201 403 201 403 201 403 201 403 201 403 401",
    "DELETE …/-/consumers/{consumer}":          "401 404 403 403 403 403 403 404 200 403 200 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401",
    "GET /v1/change-requests":                  "401 200 200 200 200 200 200 200 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401",
    "GET /v1/projects/{project}/change-requests":"401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401",
    "POST /v1/projects/{project}/change-requests":"401 404 403 201 403 201 403 404 201 403 201 201 403 401 401 403 201 403 201 403 403 403 201 403 201 403 201 403 401",
    "GET /v1/projects/{project}/change-requests/{id}":"401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401",
    "POST /v1/projects/{project}/change-requests/{id}/revise":"401 404 403 200 403 200 403 404 200 403 200 200 403 401 401 403 200 403 200 403 403 403 200 403 200 403 200 403 401",
    "POST /v1/projects/{project}/change-requests/{id}/comments":"401 404 403 201 201 201 201 404 201 403 201 201 403 401 401 403 201 201 201 201 403 201 201 201 201 403 201 403 401",
    "POST /v1/projects/{project}/change-requests/{id}/approve":"401 404 403 403 200 403 403 404 200 403 200 403 403 401 401 403 403 200 403 403 403 200 403 403 200 403 200 403 401",
    "POST /v1/projects/{project}/change-requests/{id}/retract":"401 404 403 403 200 403 403 404 200 403 200 403 403 401 401 403 403 200 403 403 403 200 403 403 200 403 200 403 401",
    "POST /v1/projects/{project}/change-requests/{id}/reject":"401 404 403 403 200 403 403 404 200 403 200 403 403 401 401 403 403 200 403 403 403 200 403 403 200 403 200 403 401",
    "POST /v1/projects/{project}/change-requests/{id}/review":"401 404 403 403 200 403 403 404 200 403 200 403 403 401 401 403 403 200 403 403 403 200 403 403 200 403 200 403 401",
    "POST /v1/projects/{project}/change-requests/{id}/withdraw":"401 404 403 403 403 403 403 404 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401",
    "POST /v1/projects/{project}/change-requests/{id}/apply":"401 404 403 403 403 200 403 404 200 403 200 403 200 401 401 403 403 403 200 403 403 403 200 403 200 200 200 403 401",
    "GET /v1/principals":                           "401 403 403 403 403 403 200 403 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401",
    "POST /v1/principals":                          "401 403 403 403 403 403 403 403 201 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401",
    "PATCH /v1/principals/{id}":                    "401 403 403 403 403 403 403 403 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401",
    "GET /v1/principals/{id}":                  "401 403 403 403 403 403 200 403 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401",
    "GET /v1/principals/{id}/keys":             "401 403 403 403 403 403 200 403 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401",
    # Only oneself; tests/governance/test_signatures.py does.
    "POST /v1/principals/{id}/keys":            "401 403 403 403 403 403 403 403 403 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401",
    "DELETE /v1/principals/{id}/keys/{key_id}": "401 403 403 403 403 403 403 403 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401",
    "PUT /v1/principals/{id}/groups/{group_id}": "401 403 403 403 403 403 403 403 201 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401",
    "DELETE /v1/principals/{id}/groups/{group_id}": "401 403 403 403 403 403 403 403 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401",
    "GET /v1/access/explain":                   "401 403 403 403 403 403 200 403 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401",
    "GET /v1/roles":                            "401 200 200 200 200 200 200 200 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401",
    "PUT /v1/roles/{role}":                     "401 403 403 403 403 403 403 403 201 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401",
    "DELETE /v1/roles/{role}":                  "401 403 403 403 403 403 403 403 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401",
    "GET /v1/grants":                               "401 403 403 403 403 403 200 403 200 403 200 403 403 401 401 403 403 403 403 200 403 403 403 200 200 403 200 403 401",
    "POST /v1/grants":                              "401 404 403 403 403 403 403 404 201 403 201 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401",
    "DELETE /v1/grants/{id}":                       "401 404 403 403 403 403 403 404 200 403 200 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401",
    "GET /v1/tokens":                               "401 200 200 200 200 200 200 200 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401",
    "POST /v1/tokens":                              "401 403 403 403 403 403 403 403 201 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401",
    "DELETE /v1/tokens/{id}":                       "401 403 403 403 403 403 403 403 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401",
    "GET /v1/audit":                                "401 403 403 403 403 403 200 403 200 403 200 403 403 401 401 403 403 403 403 200 403 403 403 200 200 403 200 403 401",
    "GET /v1/audit/export":                         "401 403 403 403 403 403 200 403 200 403 200 403 403 401 401 403 403 403 403 200 403 403 403 200 200 403 200 403 401",
    "GET /v1/events":                               "401 200 200 200 200 200 200 200 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401",
    "GET /v1/search":                               "401 200 200 200 200 200 200 200 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401",
    "POST /v1/similar":                             "401 200 200 200 200 200 200 200 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401",
    "GET /v1/webhooks":                             "401 403 403 403 403 403 200 403 200 403 200 403 403 401 401 403 403 403 403 200 403 403 403 200 200 403 200 403 401",
    "POST /v1/webhooks":                            "401 404 403 403 403 403 403 404 201 403 201 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401",
    "GET /v1/webhooks/{id}":                        "401 404 403 403 403 403 200 404 200 403 200 403 403 401 401 403 403 403 403 200 403 403 403 403 403 403 403 403 401",
    "PATCH /v1/webhooks/{id}":                      "401 404 403 403 403 403 403 404 200 403 200 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401",
    "DELETE /v1/webhooks/{id}":                     "401 404 403 403 403 403 403 404 200 403 200 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401",
    "POST /v1/webhooks/{id}/rotate-secret":         "401 404 403 403 403 403 403 404 201 403 201 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401",
    "POST /v1/webhooks/{id}/test":                  "401 404 403 403 403 403 403 404 200 403 200 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401",
    "GET /v1/webhooks/{id}/deliveries":             "401 404 403 403 403 403 200 404 200 403 200 403 403 401 401 403 403 403 403 200 403 403 403 403 403 403 403 403 401",
    "POST /v1/webhooks/{id}/redeliver":             "401 404 403 403 403 403 403 404 202 403 202 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401",
    "GET /v1/log/keys":                             "401 403 403 403 403 403 200 403 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401",
    "POST /v1/log/keys":                            "401 403 403 403 403 403 403 403 201 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401",
    "DELETE /v1/log/keys/{key_id}":                 "401 403 403 403 403 403 403 403 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401",
    "GET /v1/projections":                          "401 403 403 403 403 403 403 200 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401",
    "GET /v1/projections/{projection}":             "401 403 403 403 403 403 403 200 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401",
    "POST /v1/projections/{projection}/rebuild":    "401 403 403 403 403 403 403 202 202 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401",
    "POST /v1/projections/{projection}/compare":    "401 403 403 403 403 403 403 200 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401",
}
# fmt: on
PROMPT = "/v1/projects/{project}/prompts/{name}"


ABOUT_VICTIMS = ("POST /v1/grants", "POST /v1/tokens")
QUERIES = {
    "GET /v1/search": "?q=one", "GET …/-/impact": "?version=2", "GET …/-/diff": "?from=1&to=2",
}  # fmt: skip
GUARDRAIL = {"prompt": "support/triage@1", "folder": "empty"}


class World:
    """A registry with one caller a column, and fresh things for each request to act on."""

    def __init__(self, admin: Api) -> None:
        self.admin = admin
        self.callers: dict[str, Api] = {}
        self.number = 0
        self.read_only = ""
        self.read_change = ""

    async def build(self) -> None:
        await self.admin.make_prompt("acme/support/triage", "one")
        await self.admin.make_prompt("other/secret", "secret")
        for role in "viewer developer reviewer releaser auditor operator admin checker".split():
            self.callers[role] = (await self.admin.make_caller({"role": role})).api
        scoped = {
            "none": (),
            "p-viewer": ({"role": "viewer", "project": "acme"},),
            "p-admin": ({"role": "admin", "project": "acme"},),
            "f-developer": ({"role": "developer", "project": "acme", "folder": "support"},),
            "e-releaser": ({"role": "releaser", "project": "acme", "environment": "staging"},),
        }
        for role in "developer reviewer releaser auditor".split():
            scoped[f"p-{role}"] = ({"role": role, "project": "acme"},)
        for role in "viewer reviewer releaser auditor admin".split():
            scoped[f"f-{role}"] = ({"role": role, "project": "acme", "folder": "support"},)
        scoped["e-admin"] = ({"role": "admin", "project": "acme", "environment": "staging"},)
        for name, grants in scoped.items():
            self.callers[name] = (await self.admin.make_caller(*grants)).api
        soon = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
        self.callers["expired"] = (
            await self.admin.make_caller({"role": "admin"}, expires_at=soon)
        ).api
        revoked = await self.admin.make_caller({"role": "admin"})
        await self.admin.ok("DELETE", f"/v1/tokens/{revoked.token_id}")
        self.callers["revoked"] = revoked.api
        reading = [{"permissions": ["prompt.read"]}]
        self.callers["narrowed"] = (
            await self.admin.make_caller({"role": "admin"}, scopes=reading)
        ).api
        place = [{"project": "acme", "folder": "support"}]
        self.callers["placed"] = (await self.admin.make_caller({"role": "admin"}, scopes=place)).api
        self.callers["nobody"] = self.admin.as_token(None)
        gone = await self.admin.make_caller({"role": "admin"})
        await self.admin.ok("PATCH", f"/v1/principals/{gone.principal_id}", {"active": False})
        self.callers["deactivated"] = gone.api
        await self.admin.ok("PUT", "/v1/projects/acme/environments/qa", {})
        group = await self.admin.ok("POST", "/v1/principals", {"type": "group", "name": "all"})
        self.group = group["principal_id"]
        self.read_only = await self.fresh_prompt()
        await self.branch(self.read_only)
        await asyncio.sleep(1.1)

    async def fresh_prompt(self) -> str:
        self.number += 1
        name = f"support/p{self.number}"
        await self.admin.make_prompt(f"acme/{name}", "one")
        path = f"/v1/projects/acme/prompts/{name}"
        await self.admin.ok("POST", f"{path}/-/versions", {"content": text_content("two")})
        for version in (1, 2):
            await self.admin.ok("PUT", f"{path}/-/labels/staging", {"version": version})
        await self.admin.ok("PUT", f"{path}/-/labels/production", {"version": 1})
        return path

    async def branch(self, prompt: str) -> None:
        """A branch with a version of its own."""
        await self.admin.ok("POST", f"{prompt}/-/branches", {"branch": "side", "version": 1})
        body = {"content": text_content("one\n"), "branch": "side"}
        await self.admin.ok("POST", f"{prompt}/-/versions", body)

    async def victim(self) -> Caller:
        return await self.admin.make_caller({"role": "viewer", "project": "acme"})

    async def webhook(self) -> str:
        """One of the project that is never told anything."""
        body = {"url": "https://localhost/", "project": "acme", "types": ["epoch"]}
        return (await self.admin.ok("POST", "/v1/webhooks", body))["webhook_id"]

    async def change(self, method: str, action: str) -> str:
        """A change request to read, or a fresh one to act on, by somebody in no column."""
        if method == "GET" and self.read_change:
            return self.read_change
        prompt = await self.fresh_prompt()
        if action == "review":
            body = {"version": 1, "break_glass": True, "reason": "now"}
            made = await self.admin.ok("PUT", f"{prompt}/-/labels/staging", body)
        else:
            by = self.callers["admin"] if action == "withdraw" else self.admin
            items = [{"name": prompt.partition("/prompts/")[2], "version": 1}]
            body = {"items": items, "title": "x", "environment": "staging"}
            made = await by.ok("POST", "/v1/projects/acme/change-requests", body)
        if method == "GET":
            self.read_change = made["change_id"]
        return made["change_id"]

    def key(self) -> dict[str, str]:
        """What registers another event key."""
        signer = Signer(os.urandom(32))
        proof = signer.sign(possession_text(self.admin.services.ledger_id, "event"))
        public_key = signer.public_key.hex()
        return {"purpose": "event", "public_key": public_key, "proof": proof.hex()}

    def actor_key(self, victim: Caller) -> dict[str, str]:
        """What registers a key of somebody's own."""
        signer = Signer(os.urandom(32))
        purpose = f"actor/{victim.principal_id}"
        proof = signer.sign(possession_text(self.admin.services.ledger_id, purpose))
        return {"public_key": signer.public_key.hex(), "proof": proof.hex()}

    async def request(self, row: str) -> tuple[str, str, dict | None]:
        """A valid request for a row, on things of its own."""
        method, _, route = row.partition(" ")
        self.number += 1
        about = "{id}" in route and "change-requests" not in route
        victim = await self.victim() if about or row in ABOUT_VICTIMS else None
        path = await self.path(method, route, victim)
        query = QUERIES.get(row, "")
        if row == "GET /v1/access/explain":
            query = f"?principal={self.group}&permission=prompt.read"
        return method, path + query, self.bodies(victim).get(row)

    async def path(self, method: str, route: str, victim: Caller | None) -> str:
        """A route that leads to something, made for it where it is changed."""
        prompt = PROMPT.format(project="acme", name="support/triage")
        if method == "GET":
            prompt = self.read_only
        elif "…" in route or route == PROMPT:
            prompt = await self.fresh_prompt()
        path = route.replace(PROMPT, prompt).replace("…", prompt)
        if "change-requests/{id}" in path:
            path = path.replace("{id}", await self.change(method, path.rpartition("/")[2]))
        if "environments/{label}" in path:
            path = path.format(project="acme", label="gone" if method == "DELETE" else "qa")
            if method == "DELETE":
                await self.admin.ok("PUT", path, {})
        if method != "GET" and ("branches/{branch}" in path or path.endswith("/-/merge")):
            await self.branch(prompt)
        for name, value in {
            "project": "acme", "label": "staging", "branch": "side", "number": "1",
            "projection": "catalog", "guardrail": f"g{self.number % 8}",
        }.items():  # fmt: skip
            path = path.replace(f"{{{name}}}", value)
        if victim is not None and "{id}" in path:
            path = path.replace("{id}", {
                "principals": victim.principal_id, "grants": victim.grant_ids[0],
                "tokens": victim.token_id, "webhooks": await self.webhook(),
            }[path.split("/")[2]])  # fmt: skip
        if "{group_id}" in path:
            path = path.replace("{group_id}", self.group)
            if method == "DELETE":
                await self.admin.ok("PUT", path)
        if "{consumer}" in path:
            path = path.replace("{consumer}", "app")
            if method == "DELETE":
                await self.admin.ok("PUT", path, {})
        if "{role}" in path:
            path = path.replace("{role}", f"r{self.number}")
            if method == "DELETE":
                await self.admin.ok("PUT", path, {"permissions": ["prompt.read"]})
        if "{key_id}" in path and victim is not None:
            made = await victim.api.ok("POST", path.rpartition("/")[0], self.actor_key(victim))
            self.admin.position = max(self.admin.position, made["position"])
            path = path.replace("{key_id}", made["key_id"])
        if "{key_id}" in path:
            made = await self.admin.ok("POST", "/v1/log/keys", self.key())
            path = path.replace("{key_id}", made["key_id"])
        if "{guardrail}" in route:
            await self.admin.call("DELETE", path)
            if method == "DELETE":
                await self.admin.ok("PUT", path, GUARDRAIL)
        return path

    def bodies(self, victim: Caller | None) -> dict[str, dict | None]:
        """A valid body for each row that has one."""
        about = {"principal_id": victim.principal_id} if victim is not None else {}
        return {
            "POST /v1/projects": {"project": f"fresh-{self.number}"},
            "POST /v1/projects/{project}/prompts": {
                "name": f"support/new{self.number}", "content": text_content("x"),
            },
            "POST /v1/resolve": {"items": [{"project": "acme", "name": "support/triage"}]},
            "PATCH …/-/metadata": {"tags": ["t"]},
            "POST …/-/versions": {"content": text_content(f"new {self.number}")},
            "POST /v1/similar": {"content": text_content("one")},
            "POST /v1/commits": {"items": [
                {"project": "acme", "name": name, "content": text_content(f"all {self.number}"),
                 "create": True}
                for name in ("support/triage", f"support/c{self.number}")
            ]},
            "POST …/-/branches": {"branch": "side"},
            "POST …/-/merge": {
                "source": "side", "content": text_content("merged"), "expected_version": 2,
                "source_version": 3,
            },
            "POST …/-/move": {"name": f"support/moved{self.number}"},
            "POST …/-/fork": {"name": f"support/fork{self.number}"},
            "PUT /v1/projects/{project}/guardrails/{guardrail}": GUARDRAIL,
            "PUT …/-/labels/{label}": {"version": 1},
            "POST …/-/rollback": {"label": "staging"},
            "PUT /v1/projects/{project}/environments/{label}": {
                "label_hours_max": self.number % 1000 + 1,
            },
            "PUT /v1/projects/{project}/owners": {"folder": f"f{self.number % 99}", "owners": []},
            "POST …/-/versions/{number}/checks": {"name": "lint", "state": "passed"},
            "POST …/-/promotions/preview": {"version": 1, "label": "staging"},
            "POST /v1/projects/{project}/change-requests": {
                "items": [{"name": "support/triage", "version": 1}], "title": "x",
                "environment": "staging",
            },
            "POST /v1/projects/{project}/change-requests/{id}/comments": {"text": "x"},
            "POST /v1/projects/{project}/change-requests/{id}/review": {"outcome": "accepted"},
            "POST …/-/render": {"variables": {}},
            "POST /v1/principals": {"type": "service", "name": "x"},
            "PATCH /v1/principals/{id}": {"active": False},
            "POST /v1/grants": about | {"role": "developer", "project": "acme"},
            "POST /v1/principals/{id}/keys": self.actor_key(victim) if victim else None,
            "PUT …/-/consumers/{consumer}": {"range": "^1"},
            "PUT /v1/roles/{role}": {"permissions": ["prompt.read"]},
            "POST /v1/log/keys": self.key(),
            "POST /v1/webhooks": {
                "url": "https://localhost/", "project": "acme", "types": ["epoch"],
            },
            "PATCH /v1/webhooks/{id}": {"types": ["ledger"]},
            "POST /v1/webhooks/{id}/redeliver": {"after": 0},
            "POST /v1/tokens": about,
        }  # fmt: skip


# A label that is no environment: who may set it at a prompt in the folder.
PLAIN_LABEL = {
    "nobody": 401, "none": 404, "viewer": 403, "developer": 201, "reviewer": 403, "releaser": 201,
    "auditor": 403, "operator": 404, "admin": 201, "p-viewer": 403, "p-developer": 201,
    "p-reviewer": 403, "p-releaser": 201, "p-auditor": 403, "p-admin": 201, "f-viewer": 403,
    "f-developer": 201, "f-reviewer": 403, "f-releaser": 201, "f-auditor": 403, "f-admin": 201,
    "e-releaser": 403, "e-admin": 403, "expired": 401, "revoked": 401, "narrowed": 403,
    "placed": 201, "checker": 403, "deactivated": 401,
}  # fmt: skip


async def test_a_label_that_is_no_environment(world: World) -> None:
    assert set(PLAIN_LABEL) == set(COLUMNS)
    for column, expected in PLAIN_LABEL.items():
        path = await world.fresh_prompt()
        api = world.callers[column]
        answer = await api.call("PUT", f"{path}/-/labels/beta", {"version": 1})
        assert answer.status == expected, (column, answer.body)


def _rows() -> dict[str, dict[str, int]]:
    return {
        row.replace("…", PROMPT): dict(zip(COLUMNS, map(int, cells.split()), strict=True))
        for row, cells in TABLE.items()
    }


def test_every_route_has_a_row() -> None:
    operations = {
        f"{method.upper()} {path}"
        for path, methods in document(ROUTES)["paths"].items()
        for method in methods
    }
    assert operations == set(_rows())


@pytest.fixture
async def world(api: Api) -> World:
    built = World(api)
    await built.build()
    return built


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # the policy is the same
async def test_every_cell(world: World) -> None:
    wrong = []
    for row, cells in TABLE.items():
        made = None
        for column, expected in zip(COLUMNS, cells.split(), strict=True):
            # What was refused has changed nothing, so that the next one may try the same.
            method, path, body = made = made or await world.request(row)
            api = world.callers[column]
            api.position = world.admin.position
            answer = await api.call(method, path, body)
            if answer.status != int(expected):
                wrong.append((row, column, expected, answer.status, answer.body))
            if answer.status < 300 and method != "GET":
                made = None
    assert not wrong, "\n".join(map(str, wrong))


@pytest.mark.parametrize("column", ["none", "p-viewer", "p-admin", "f-developer", "e-releaser"])
async def test_absent_and_foreign_look_the_same(world: World, column: str) -> None:
    api = world.callers[column]
    api.position = world.admin.position
    for method, suffix, body in (
        ("GET", "", None),
        ("GET", "/-/metadata", None),
        ("GET", "/-/versions/1", None),
        ("POST", "/-/versions", {"content": text_content("x")}),
        ("PUT", "/-/labels/production", {"version": 1}),
    ):
        seen = []
        for project, name in (("other", "secret"), ("other", "nothing"), ("ghost", "secret")):
            answer = await api.call(method, f"/v1/projects/{project}/prompts/{name}{suffix}", body)
            text = str({k: v for k, v in answer.body.items() if k != "request_id"})
            seen.append((answer.status, text.replace(f"{project}/prompts/{name}", "X")))
        assert seen[0][0] == 404 and len(set(seen)) == 1, seen


async def test_a_folder_reaches_no_further(world: World) -> None:
    await world.admin.make_prompt("acme/supporting/mail")
    api = world.callers["f-developer"]
    api.position = world.admin.position
    page = await api.ok("GET", "/v1/projects/acme/prompts?limit=500")
    assert {item["name"].split("/")[0] for item in page["items"]} == {"support"}
    assert (await api.call("GET", "/v1/projects/acme/prompts/supporting/mail")).status == 404
    body = {"name": "supporting/x", "content": text_content("x")}
    assert (await api.call("POST", "/v1/projects/acme/prompts", body)).status == 404


async def test_an_environment_reaches_no_other(world: World) -> None:
    prompt = await world.fresh_prompt()
    api = world.callers["e-releaser"]
    api.position = world.admin.position
    for label, expected in (("staging", 200), ("production", 403), ("custom", 403)):
        answer = await api.call("PUT", f"{prompt}/-/labels/{label}", {"version": 2})
        assert answer.status == expected, label


async def test_a_grant_ends_with_its_expiry(world: World) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
    caller = await world.admin.make_caller({"role": "viewer", "expires_at": soon})
    path = "/v1/projects/acme/prompts/support/triage?version=1"
    assert (await caller.api.call("GET", path)).status == 200
    await asyncio.sleep(2.1)
    assert (await caller.api.call("GET", path)).status == 404


async def test_feeds_and_audit_show_only_what_one_may_read(world: World) -> None:
    viewer = world.callers["p-viewer"]
    viewer.position = world.admin.position
    page = await viewer.ok("GET", "/v1/events?limit=500")
    subjects = {item["subject"] for item in page["items"]}
    assert subjects and all(s.startswith("projects/acme") for s in subjects)
    assert all("grant" not in item["type"] for item in page["items"])
    admin = world.callers["p-admin"]
    admin.position = world.admin.position
    records = await admin.ok("GET", "/v1/audit?limit=500")
    assert all(r["resource"].startswith("projects/acme") for r in records["items"])
