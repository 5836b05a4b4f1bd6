"""Every route × every kind of caller. The table is written by hand, not derived from the policy.

Columns: no token, a principal without grants, each role in the registry, in the project (p-) and in
the folder `support` (f-), those that count in the environment `staging` (e-), an expired token, a
revoked one, an admin's tokens narrowed to reading and to the folder, and an admin's session without
the second factor that the registry requires. Statuses are those of a
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
from tests.api.access_world import PROMPT, World
from tests.harness import Api, registry, text_content

COLUMNS = (
    "nobody none viewer developer reviewer releaser auditor operator admin"
    " p-viewer p-admin f-developer e-releaser expired revoked narrowed"
    " p-developer p-reviewer p-releaser p-auditor f-viewer f-reviewer f-releaser f-auditor f-admin"
    " e-admin placed checker deactivated no-2fa"
).split()

# fmt: off
TABLE = {
    #                                                nob non vie dev rev rel aud ope adm pvi pad fde ere exp rev nar pde pre prl pau fvi fre frl fau fad ead pla che dea 2fa
    "GET /healthz":                                 "200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200",
    "GET /readyz":                                  "200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200",
    "GET /v1/version":                              "200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200",
    "GET /metrics":                                 "401 403 403 403 403 403 403 200 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "GET /v1/whoami":                               "401 200 200 200 200 200 200 200 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401 403",
    "GET /v1/projects":                             "401 200 200 200 200 200 200 200 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401 403",
    "POST /v1/projects":                            "401 403 403 403 403 403 403 403 201 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "GET /v1/projects/{project}":                   "401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401 403",
    "GET /v1/projects/{project}/prompts":           "401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401 403",
    "POST /v1/projects/{project}/prompts":          "401 404 403 201 403 403 403 404 201 403 201 201 403 401 401 403 201 403 403 403 403 403 403 403 201 403 201 403 401 403",
    "GET /v1/projects/{project}/prompts/{name}":    "401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401 403",
    "POST /v1/resolve":                             "401 200 200 200 200 200 200 200 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401 403",
    "GET …/-/metadata":                             "401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401 403",
    "PATCH …/-/metadata":                           "401 404 403 200 403 403 403 404 200 403 200 200 403 401 401 403 200 403 403 403 403 403 403 403 200 403 200 403 401 403",
    "POST …/-/deprecate":                           "401 404 403 200 403 403 403 404 200 403 200 200 403 401 401 403 200 403 403 403 403 403 403 403 200 403 200 403 401 403",
    "POST …/-/move":                                "401 404 403 200 403 403 403 404 200 403 200 200 403 401 401 403 200 403 403 403 403 403 403 403 200 403 200 403 401 403",
    "POST …/-/archive":                             "401 404 403 200 403 403 403 404 200 403 200 200 403 401 401 403 200 403 403 403 403 403 403 403 200 403 200 403 401 403",
    "POST …/-/restore":                             "401 404 403 200 403 403 403 404 200 403 200 200 403 401 401 403 200 403 403 403 403 403 403 403 200 403 200 403 401 403",
    "GET …/-/versions":                             "401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401 403",
    "POST …/-/versions":                            "401 404 403 201 403 403 403 404 201 403 201 201 403 401 401 403 201 403 403 403 403 403 403 403 201 403 201 403 401 403",
    "POST /v1/commits":                             "401 404 403 201 403 403 403 404 201 403 201 201 403 401 401 403 201 403 403 403 403 403 403 403 201 403 201 403 401 403",
    "GET …/-/versions/{number}":                    "401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401 403",
    "GET …/-/branches":                             "401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401 403",
    "POST …/-/branches":                            "401 404 403 201 403 403 403 404 201 403 201 201 403 401 401 403 201 403 403 403 403 403 403 403 201 403 201 403 401 403",
    "GET …/-/branches/{branch}":                    "401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401 403",
    "DELETE …/-/branches/{branch}":                 "401 404 403 200 403 403 403 404 200 403 200 200 403 401 401 403 200 403 403 403 403 403 403 403 200 403 200 403 401 403",
    "POST …/-/merge":                               "401 404 403 201 403 403 403 404 201 403 201 201 403 401 401 403 201 403 403 403 403 403 403 403 201 403 201 403 401 403",
    "POST …/-/fork":                                "401 404 403 201 403 403 403 404 201 403 201 201 403 401 401 403 201 403 403 403 403 403 403 403 201 403 201 403 401 403",
    "GET …/-/labels":                               "401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401 403",
    "GET …/-/labels/{label}":                       "401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401 403",
    "PUT …/-/labels/{label}":                       "401 404 403 403 403 200 403 404 200 403 200 403 200 401 401 403 403 403 200 403 403 403 200 403 200 200 200 403 401 403",
    "DELETE …/-/labels/{label}":                    "401 404 403 403 403 200 403 404 200 403 200 403 200 401 401 403 403 403 200 403 403 403 200 403 200 200 200 403 401 403",
    "POST …/-/labels/{label}/stop":                 "401 404 403 403 403 200 403 404 200 403 200 403 200 401 401 403 403 403 200 403 403 403 200 403 200 200 200 403 401 403",
    "GET …/-/labels/{label}/history":               "401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401 403",
    "POST …/-/rollback":                            "401 404 403 403 403 200 403 404 200 403 200 403 200 401 401 403 403 403 200 403 403 403 200 403 200 200 200 403 401 403",
    "GET …/-/history":                              "401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401 403",
    "GET …/-/diff":                                 "401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401 403",
    "POST …/-/render":                              "401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401 403",
    "GET …/-/used-by":                              "401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401 403",
    "GET …/-/impact":                               "401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401 403",
    "GET /v1/projects/{project}/guardrails":        "401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401 403",
    "PUT /v1/projects/{project}/guardrails/{guardrail}":"401 404 403 403 403 403 403 404 201 403 201 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "DELETE /v1/projects/{project}/guardrails/{guardrail}":"401 404 403 403 403 403 403 404 200 403 200 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "GET /v1/projects/{project}/environments":  "401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401 403",
    "GET /v1/projects/{project}/environments/{label}":"401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401 403",
    "PUT /v1/projects/{project}/environments/{label}":"401 404 403 403 403 403 403 404 200 403 200 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "DELETE /v1/projects/{project}/environments/{label}":"401 404 403 403 403 403 403 404 200 403 200 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "GET /v1/projects/{project}/owners":        "401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401 403",
    "PUT /v1/projects/{project}/owners":        "401 404 403 403 403 403 403 404 200 403 200 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "GET …/-/versions/{number}/checks":         "401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401 403",
    "POST …/-/versions/{number}/checks":        "401 404 403 403 403 403 403 404 201 403 201 403 403 401 401 403 403 403 403 403 403 403 403 403 201 403 201 201 401 403",
    "POST …/-/promotions/preview":              "401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401 403",
    "GET …/-/consumers":                        "401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401 403",
    "PUT …/-/consumers/{consumer}":             "401 404 201 201 403 201 403 404 201 201 201 201 403 401 401 403 201 403 201 403 201 403 201 403 201 403 201 403 401 403",
    "DELETE …/-/consumers/{consumer}":          "401 404 403 403 403 403 403 404 200 403 200 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "GET /v1/change-requests":                  "401 200 200 200 200 200 200 200 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401 403",
    "GET /v1/projects/{project}/change-requests":"401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401 403",
    "POST /v1/projects/{project}/change-requests":"401 404 403 201 403 201 403 404 201 403 201 201 403 401 401 403 201 403 201 403 403 403 201 403 201 403 201 403 401 403",
    "GET /v1/projects/{project}/change-requests/{id}":"401 404 200 200 200 200 200 404 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401 403",
    "POST /v1/projects/{project}/change-requests/{id}/revise":"401 404 403 200 403 200 403 404 200 403 200 200 403 401 401 403 200 403 200 403 403 403 200 403 200 403 200 403 401 403",
    "POST /v1/projects/{project}/change-requests/{id}/comments":"401 404 403 201 201 201 201 404 201 403 201 201 403 401 401 403 201 201 201 201 403 201 201 201 201 403 201 403 401 403",
    "POST /v1/projects/{project}/change-requests/{id}/approve":"401 404 403 403 200 403 403 404 200 403 200 403 403 401 401 403 403 200 403 403 403 200 403 403 200 403 200 403 401 403",
    "POST /v1/projects/{project}/change-requests/{id}/retract":"401 404 403 403 200 403 403 404 200 403 200 403 403 401 401 403 403 200 403 403 403 200 403 403 200 403 200 403 401 403",
    "POST /v1/projects/{project}/change-requests/{id}/reject":"401 404 403 403 200 403 403 404 200 403 200 403 403 401 401 403 403 200 403 403 403 200 403 403 200 403 200 403 401 403",
    "POST /v1/projects/{project}/change-requests/{id}/review":"401 404 403 403 200 403 403 404 200 403 200 403 403 401 401 403 403 200 403 403 403 200 403 403 200 403 200 403 401 403",
    "POST /v1/projects/{project}/change-requests/{id}/withdraw":"401 404 403 403 403 403 403 404 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "POST /v1/projects/{project}/change-requests/{id}/apply":"401 404 403 403 403 200 403 404 200 403 200 403 200 401 401 403 403 403 200 403 403 403 200 403 200 200 200 403 401 403",
    "GET /v1/principals":                           "401 403 403 403 403 403 200 403 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "POST /v1/principals":                          "401 403 403 403 403 403 403 403 201 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "PATCH /v1/principals/{id}":                    "401 403 403 403 403 403 403 403 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "POST /v1/principals/{id}/suspend":            "401 403 403 403 403 403 403 403 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "POST /v1/principals/{id}/resume":             "401 403 403 403 403 403 403 403 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "GET /v1/principals/{id}":                  "401 403 403 403 403 403 200 403 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "GET /v1/principals/{id}/keys":             "401 403 403 403 403 403 200 403 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    # Only oneself; tests/governance/test_signatures.py does.
    "POST /v1/principals/{id}/keys":            "401 403 403 403 403 403 403 403 403 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "DELETE /v1/principals/{id}/keys/{key_id}": "401 403 403 403 403 403 403 403 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "PUT /v1/principals/{id}/groups/{group_id}": "401 403 403 403 403 403 403 403 201 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "DELETE /v1/principals/{id}/groups/{group_id}": "401 403 403 403 403 403 403 403 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "POST /v1/auth/login":                          "201 201 201 201 201 201 201 201 201 201 201 201 201 201 201 201 201 201 201 201 201 201 201 201 201 201 201 201 201 201",
    "POST /v1/auth/refresh":                        "200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200",
    "POST /v1/auth/recover":                        "200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200",
    # There is no provider here; tests/sign_in/test_oidc.py has one.
    "GET /v1/auth/oidc":                            "404 404 404 404 404 404 404 404 404 404 404 404 404 404 404 404 404 404 404 404 404 404 404 404 404 404 404 404 404 404",
    "GET /v1/auth/oidc/callback":                   "404 404 404 404 404 404 404 404 404 404 404 404 404 404 404 404 404 404 404 404 404 404 404 404 404 404 404 404 404 404",
    # Only in a session, and of one's own; tests/sign_in does.
    "POST /v1/auth/logout":                         "401 409 409 409 409 409 409 409 409 409 409 409 409 401 401 409 409 409 409 409 409 409 409 409 409 409 409 409 401 200",
    "POST /v1/auth/password":                       "401 409 409 409 409 409 409 409 409 409 409 409 409 401 401 409 409 409 409 409 409 409 409 409 409 409 409 409 401 200",
    "POST /v1/auth/totp":                           "401 409 409 409 409 409 409 409 409 409 409 409 409 401 401 409 409 409 409 409 409 409 409 409 409 409 409 409 401 200",
    "PUT /v1/auth/totp":                            "401 409 409 409 409 409 409 409 409 409 409 409 409 401 401 409 409 409 409 409 409 409 409 409 409 409 409 409 401 401",
    "DELETE /v1/auth/totp":                         "401 409 409 409 409 409 409 409 409 409 409 409 409 401 401 409 409 409 409 409 409 409 409 409 409 409 409 409 401 403",
    "GET /v1/auth/rules":                           "401 200 200 200 200 200 200 200 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401 403",
    "PUT /v1/auth/rules":                           "401 403 403 403 403 403 403 403 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "GET /v1/access/rules":                          "401 200 200 200 200 200 200 200 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401 403",
    "PUT /v1/access/rules":                          "401 403 403 403 403 403 403 403 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "POST /v1/access/requests":                      "401 403 403 403 403 403 403 403 201 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "GET /v1/access/requests":                       "401 200 200 200 200 200 200 200 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401 403",
    "GET /v1/access/requests/{id}":                  "401 404 404 404 404 404 200 404 200 404 404 404 404 401 401 404 404 404 404 404 404 404 404 404 404 404 404 404 401 403",
    "POST /v1/access/requests/{id}/approve":         "401 403 403 403 403 403 403 403 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "POST /v1/access/requests/{id}/reject":          "401 403 403 403 403 403 403 403 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "POST /v1/access/requests/{id}/apply":           "401 403 403 403 403 403 403 403 201 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "PUT /v1/principals/{id}/login":                "401 403 403 403 403 403 403 403 201 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "DELETE /v1/principals/{id}/login":             "401 403 403 403 403 403 403 403 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "POST /v1/principals/{id}/recovery":            "401 403 403 403 403 403 403 403 201 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "DELETE /v1/principals/{id}/totp":              "401 403 403 403 403 403 403 403 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "DELETE /v1/principals/{id}/sessions":          "401 403 403 403 403 403 403 403 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "GET /v1/sessions":                             "401 200 200 200 200 200 200 200 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401 403",
    "DELETE /v1/sessions/{id}":                     "401 403 403 403 403 403 403 403 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "GET /scim/v2/ServiceProviderConfig":          "200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200",
    "GET /scim/v2/ResourceTypes":                  "200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200",
    "GET /scim/v2/ResourceTypes/{kind}":           "200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200",
    "GET /scim/v2/Schemas":                        "200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200",
    "GET /scim/v2/Schemas/{schema}":               "200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200",
    "GET /scim/v2/Users":                          "401 403 403 403 403 403 200 403 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "POST /scim/v2/Users":                         "401 403 403 403 403 403 403 403 201 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "GET /scim/v2/Users/{id}":                     "401 403 403 403 403 403 200 403 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "PUT /scim/v2/Users/{id}":                     "401 403 403 403 403 403 403 403 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "PATCH /scim/v2/Users/{id}":                   "401 403 403 403 403 403 403 403 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "DELETE /scim/v2/Users/{id}":                  "401 403 403 403 403 403 403 403 204 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "GET /scim/v2/Groups":                         "401 403 403 403 403 403 200 403 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "POST /scim/v2/Groups":                        "401 403 403 403 403 403 403 403 201 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "GET /scim/v2/Groups/{id}":                    "401 403 403 403 403 403 200 403 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "PUT /scim/v2/Groups/{id}":                    "401 403 403 403 403 403 403 403 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "PATCH /scim/v2/Groups/{id}":                  "401 403 403 403 403 403 403 403 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "DELETE /scim/v2/Groups/{id}":                 "401 403 403 403 403 403 403 403 204 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "GET /v1/access/explain":                   "401 403 403 403 403 403 200 403 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "GET /v1/roles":                            "401 200 200 200 200 200 200 200 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401 403",
    "PUT /v1/roles/{role}":                     "401 403 403 403 403 403 403 403 201 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "DELETE /v1/roles/{role}":                  "401 403 403 403 403 403 403 403 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "GET /v1/grants":                               "401 403 403 403 403 403 200 403 200 403 200 403 403 401 401 403 403 403 403 200 403 403 403 200 200 403 200 403 401 403",
    "POST /v1/grants":                              "401 404 403 403 403 403 403 404 201 403 201 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "DELETE /v1/grants/{id}":                       "401 404 403 403 403 403 403 404 200 403 200 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "GET /v1/tokens":                               "401 200 200 200 200 200 200 200 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401 403",
    "POST /v1/tokens":                              "401 403 403 403 403 403 403 403 201 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "DELETE /v1/tokens/{id}":                       "401 403 403 403 403 403 403 403 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "GET /v1/access/reads":                          "401 403 403 403 403 403 200 403 200 403 200 403 403 401 401 403 403 403 403 200 403 403 403 200 200 403 200 403 401 403",
    "GET /v1/audit":                                "401 403 403 403 403 403 200 403 200 403 200 403 403 401 401 403 403 403 403 200 403 403 403 200 200 403 200 403 401 403",
    "GET /v1/audit/export":                         "401 403 403 403 403 403 200 403 200 403 200 403 403 401 401 403 403 403 403 200 403 403 403 200 200 403 200 403 401 403",
    "GET /v1/events":                               "401 200 200 200 200 200 200 200 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401 403",
    "GET /v1/search":                               "401 200 200 200 200 200 200 200 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401 403",
    "POST /v1/similar":                             "401 200 200 200 200 200 200 200 200 200 200 200 200 401 401 200 200 200 200 200 200 200 200 200 200 200 200 200 401 403",
    "GET /v1/webhooks":                             "401 403 403 403 403 403 200 403 200 403 200 403 403 401 401 403 403 403 403 200 403 403 403 200 200 403 200 403 401 403",
    "POST /v1/webhooks":                            "401 404 403 403 403 403 403 404 201 403 201 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "GET /v1/webhooks/{id}":                        "401 404 403 403 403 403 200 404 200 403 200 403 403 401 401 403 403 403 403 200 403 403 403 403 403 403 403 403 401 403",
    "PATCH /v1/webhooks/{id}":                      "401 404 403 403 403 403 403 404 200 403 200 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "DELETE /v1/webhooks/{id}":                     "401 404 403 403 403 403 403 404 200 403 200 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "POST /v1/webhooks/{id}/rotate-secret":         "401 404 403 403 403 403 403 404 201 403 201 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "POST /v1/webhooks/{id}/test":                  "401 404 403 403 403 403 403 404 200 403 200 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "GET /v1/webhooks/{id}/deliveries":             "401 404 403 403 403 403 200 404 200 403 200 403 403 401 401 403 403 403 403 200 403 403 403 403 403 403 403 403 401 403",
    "POST /v1/webhooks/{id}/redeliver":             "401 404 403 403 403 403 403 404 202 403 202 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "GET /v1/log/keys":                             "401 403 403 403 403 403 200 403 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "POST /v1/log/keys":                            "401 403 403 403 403 403 403 403 201 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "DELETE /v1/log/keys/{key_id}":                 "401 403 403 403 403 403 403 403 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "GET /v1/projections":                          "401 403 403 403 403 403 403 200 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "GET /v1/projections/{projection}":             "401 403 403 403 403 403 403 200 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "POST /v1/projections/{projection}/rebuild":    "401 403 403 403 403 403 403 202 202 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
    "POST /v1/projections/{projection}/compare":    "401 403 403 403 403 403 403 200 200 403 403 403 403 401 401 403 403 403 403 403 403 403 403 403 403 403 403 403 401 403",
}
# fmt: on
# A label that is no environment: who may set it at a prompt in the folder.
PLAIN_LABEL = {
    "nobody": 401,
    "none": 404,
    "viewer": 403,
    "developer": 201,
    "reviewer": 403,
    "releaser": 201,
    "auditor": 403,
    "operator": 404,
    "admin": 201,
    "p-viewer": 403,
    "p-developer": 201,
    "p-reviewer": 403,
    "p-releaser": 201,
    "p-auditor": 403,
    "p-admin": 201,
    "f-viewer": 403,
    "f-developer": 201,
    "f-reviewer": 403,
    "f-releaser": 201,
    "f-auditor": 403,
    "f-admin": 201,
    "e-releaser": 403,
    "e-admin": 403,
    "expired": 401,
    "revoked": 401,
    "narrowed": 403,
    "placed": 201,
    "checker": 403,
    "deactivated": 401,
    "no-2fa": 403,
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
        if row == "POST /v1/auth/logout":
            await world.let_half_in()
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
