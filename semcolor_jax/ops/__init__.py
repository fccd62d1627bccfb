"""Operations that run differently on different hardware."""
