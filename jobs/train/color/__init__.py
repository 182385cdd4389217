"""The pair of models that `Color` scores with: a prior of the pool, and a conditional trained from it on the target.

| module | what |
|---|---|
| `presets` | sizes and schedules |
| `pair` | `train_color`: the folder, its stages, what is refused |
| `tokenizer` | the tokenizer that both have |
| `chunks` | documents as one stream of ids, cut into chunks |
| `stage` | one training, by `transformers`' Trainer |
| `record` | what a folder says of how its model was made |
"""
