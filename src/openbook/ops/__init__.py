"""Operations on tensors that decide the speed, each a plain twin (``reference``) beside its kernels, one signature."""
