"""Models behind an HTTP endpoint that speaks the chat completions of OpenAI: the client, and judges that use it.

May import `scoring_models.feeding`, `scoring_models.marking` and what is below them.
"""

from poolsieve.scoring_models.endpoints.endpoint import Endpoint
from poolsieve.scoring_models.endpoints.failures import EndpointError, Unanswered
from poolsieve.scoring_models.endpoints.judge import Judge
from poolsieve.scoring_models.endpoints.messages import Messages, question
from poolsieve.scoring_models.endpoints.reply import Reply

__all__ = ["Endpoint", "EndpointError", "Judge", "Messages", "Reply", "Unanswered", "question"]
