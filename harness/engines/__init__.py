"""The engines that train the trials of a stack; base.py has what they share, driver.py their run."""
