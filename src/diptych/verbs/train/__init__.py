"""``finetune`` and ``pretrain``: a copy of a model is trained in steps, and measured before and after."""
