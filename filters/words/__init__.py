"""Words as spaCy's English tokenizer has them, and n-grams of them: what the rules for text count.

May import `scoring_models`.
"""
