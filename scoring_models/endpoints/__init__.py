"""Models behind an HTTP endpoint that speaks the chat completions of OpenAI: the client, and judges that use it.

May import `scoring_models.marking` and what is below it.
"""
