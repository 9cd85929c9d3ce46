"""What ``diptych finetune`` and ``pretrain`` do: data, training, measures before and after."""
