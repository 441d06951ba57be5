"""Django's settings for the browser tests: no inline style is allowed, to prove that no page needs one."""

from csp.constants import SELF

from tests.settings import *  # noqa: F403
from tests.settings import CONTENT_SECURITY_POLICY as POLICY

CONTENT_SECURITY_POLICY = {**POLICY, "DIRECTIVES": {**POLICY["DIRECTIVES"], "style-src": [SELF]}}
