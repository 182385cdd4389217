def write(result, folder):
    pass
