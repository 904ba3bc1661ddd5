"""What is read and written: bags, videos, folders of images, MOTChallenge text, labels; and the replay of them."""
