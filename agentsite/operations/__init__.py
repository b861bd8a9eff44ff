"""What operators watch and decide: rows beside conversations, memory and stores."""
