"""``diptych finetune`` and ``pretrain``, and the options that they share."""
